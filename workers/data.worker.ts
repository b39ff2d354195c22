// The thread for models, downloads and data sets.
import { expose } from "comlink";
import { createDataService } from "../src/services/data-service.ts";

expose(createDataService());
