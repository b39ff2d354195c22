// The thread that owns the GPU, the runs and the chat.
import { expose } from "comlink";
import { createEngineService } from "../src/services/engine-service.ts";

expose(createEngineService());
