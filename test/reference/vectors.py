"""Small cases of one operation each, in f64: inputs, outputs and gradients as flat lists."""

import math

import torch
import torch.nn.functional as F

from tiny_llama import NO_TARGET, attention, inverse_frequencies, rms_norm, rotate


def small_vectors():
    generator = torch.Generator().manual_seed(9)

    def random(*shape):
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    return {
        "inverseFrequencies": inverse_frequency_vectors(),
        "rope": rope_vector(random),
        "rmsNorm": rms_norm_vector(random),
        "swiglu": glu_vector(random, F.silu),
        "attention": attention_vector(random),
        "crossEntropy": cross_entropy_vector(random),
        "adamw": adamw_vector(random),
        "clip": clip_vector(random),
        "sampling": sampling_vectors(random),
        "partialRope": partial_rope_vector(random),
        "geglu": glu_vector(random, lambda gate: F.gelu(gate, approximate="tanh")),
        "headNorm": head_norm_vector(random),
        "windowAttention": window_attention_vector(random),
    }


def inverse_frequency_vectors():
    def case(size, theta, scaling):
        frequencies = inverse_frequencies(size, theta, scaling).tolist()
        return {"headSize": size, "theta": theta, "scaling": scaling, "frequencies": frequencies}

    def llama3(factor, original):
        return {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": original,
        }

    return [
        case(32, 10000.0, None),
        case(48, 500000.0, llama3(8.0, 32)),  # tiny-llama3's
        case(64, 500000.0, llama3(32.0, 8192)),  # Llama-3.2-1B's
    ]


def rope_vector(random):
    positions, frequencies = torch.tensor([0, 1, 7, 1000]), inverse_frequencies(6, 10000.0)
    x, dy = random(4, 3, 6), random(4, 3, 6)
    y = rotate(x, positions, frequencies)
    y.backward(dy)
    shape = {"tokens": 4, "heads": 3, "headSize": 6, "theta": 10000.0}
    return {**shape, "positions": positions.tolist(), **flat(x=x, dy=dy, y=y, dx=x.grad)}


def partial_rope_vector(random):
    """Four dimensions of ten turn, with cosines and sines 1.25 times too long."""
    positions, frequencies = torch.tensor([0, 2, 90]), inverse_frequencies(4, 500.0)
    x, dy = random(3, 2, 10), random(3, 2, 10)
    turned = 1.25 * rotate(x[..., :4], positions, frequencies)
    y = torch.cat([turned, x[..., 4:]], dim=-1)
    y.backward(dy)
    shape = {"tokens": 3, "heads": 2, "headSize": 10, "rotary": 4, "theta": 500.0, "scale": 1.25}
    return {**shape, "positions": positions.tolist(), **flat(x=x, dy=dy, y=y, dx=x.grad)}


def rms_norm_vector(random):
    x, weight, dy = random(3, 10), random(10), random(3, 10)
    y = rms_norm(x, weight, 1e-5)
    y.backward(dy)
    shape = {"rows": 3, "size": 10, "epsilon": 1e-5}
    return {**shape, **flat(x=x, weight=weight, dy=dy, y=y, dx=x.grad)}


def head_norm_vector(random):
    """Each head by itself; queries and keys have a weight each."""
    q, k, dq, dk = random(4, 3, 6), random(4, 1, 6), random(4, 3, 6), random(4, 1, 6)
    query_weight, key_weight = random(6), random(6)
    yq = F.rms_norm(q, (6,), query_weight, 1e-2)
    yk = F.rms_norm(k, (6,), key_weight, 1e-2)
    yq.backward(dq)
    yk.backward(dk)
    shape = {"tokens": 4, "heads": 3, "kvHeads": 1, "headSize": 6, "epsilon": 1e-2}
    tensors = {"q": q, "k": k, "queryWeight": query_weight, "keyWeight": key_weight}
    outputs = {"yq": yq, "yk": yk, "dyq": dq, "dyk": dk, "dq": q.grad, "dk": k.grad}
    return {**shape, **flat(**tensors, **outputs)}


def glu_vector(random, activation):
    """Each row of x is [gate | up]."""
    x, dy = random(3, 10), random(3, 5)
    gate, up = x.chunk(2, dim=-1)
    y = activation(gate) * up
    y.backward(dy)
    return {"rows": 3, "size": 5, **flat(x=x, dy=dy, y=y, dx=x.grad)}


def attention_vector(random):
    """Three documents, of 4, 1 and 6 tokens; six query heads share two key heads."""
    starts = torch.tensor([0] * 4 + [4] + [5] * 6)
    q, k, v, dy = random(11, 6, 5), random(11, 2, 5), random(11, 2, 5), random(11, 6, 5)
    y, log_sums = attention(q, k, v, starts)
    y.backward(dy)
    shape = {"tokens": 11, "heads": 6, "kvHeads": 2, "headSize": 5, "segmentStart": starts.tolist()}
    tensors = {"q": q, "k": k, "v": v, "dy": dy, "y": y, "logSums": log_sums}
    return {**shape, **flat(**tensors, dq=q.grad, dk=k.grad, dv=v.grad)}


def window_attention_vector(random):
    """Two documents, of 7 and 4 tokens; a token sees three, itself included. By PyTorch's own kernel."""
    starts, window, scale = torch.tensor([0] * 7 + [7] * 4), 3, 0.3
    q, k, v, dy = random(11, 4, 6), random(11, 2, 6), random(11, 2, 6), random(11, 4, 6)
    at = torch.arange(11)
    visible = (at[None] <= at[:, None]) & (at[None] >= starts[:, None])
    visible &= at[:, None] - at[None] < window
    heads_first = [part.transpose(0, 1) for part in (q, k, v)]
    y = F.scaled_dot_product_attention(
        *heads_first, attn_mask=visible, scale=scale, enable_gqa=True
    ).transpose(0, 1)
    y.backward(dy)
    scores = scale * torch.einsum("ihd,jhd->hij", q, k.repeat_interleave(2, dim=1))
    log_sums = scores.masked_fill(~visible, -math.inf).logsumexp(-1).T
    shape = {"tokens": 11, "heads": 4, "kvHeads": 2, "headSize": 6, "segmentStart": starts.tolist()}
    tensors = {"q": q, "k": k, "v": v, "dy": dy, "y": y, "logSums": log_sums}
    gradients = {"dq": q.grad, "dk": k.grad, "dv": v.grad}
    return {**shape, "window": window, "scale": scale, **flat(**tensors, **gradients)}


def cross_entropy_vector(random):
    """Row 2 predicts nothing. Row 3 has logits of ±200, whose exponentials leave f32's range."""
    logits, targets, factor = random(4, 7), torch.tensor([0, 6, NO_TARGET, 3]), 0.25
    with torch.no_grad():
        logits[3] = torch.tensor([200.0, -200.0, 199.0, 198.0, 0.0, 1.0, -1.0])
    labeled = targets != NO_TARGET
    rows = torch.zeros(4, dtype=torch.float64)
    rows[labeled] = F.cross_entropy(logits[labeled], targets[labeled], reduction="none")
    (rows.sum() * factor).backward()
    shape = {"rows": 4, "vocabulary": 7, "factor": factor, "targets": targets.tolist()}
    return {**shape, **flat(logits=logits, losses=rows, dlogits=logits.grad)}


def adamw_vector(random):
    """Four steps of torch.optim.AdamW with weight decay. One parameter's gradient stays zero."""
    parameters, gradients = random(6), random(4, 6).detach()
    gradients[:, 5] = 0
    settings = {"rate": 0.01, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1}
    start = parameters.detach().clone()
    optimizer = torch.optim.AdamW(
        [parameters], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1
    )
    after = []
    for gradient in gradients:
        parameters.grad = gradient.clone()
        optimizer.step()
        after.append(parameters.detach().clone())
    tensors = {"start": start, "gradients": gradients, "after": torch.stack(after)}
    return {**settings, "steps": 4, **flat(**tensors)}


def clip_vector(random):
    """The same gradients clipped to a norm below and above their own."""
    gradients, cases = (random(5) * 3).detach(), []
    for max_norm in (1.0, 100.0):
        parameter = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        parameter.grad = gradients.clone()
        norm = torch.nn.utils.clip_grad_norm_([parameter], max_norm).item()
        cases.append({"maxNorm": max_norm, "norm": norm, **flat(clipped=parameter.grad)})
    return {**flat(gradients=gradients), "cases": cases}


def sampling_vectors(random):
    """Hugging Face's processors in their order: penalty, temperature, top-k, top-p."""
    logits, previous = (random(12) * 3).detach(), [1, 4, 4, 7]
    cases = []
    for penalty, temperature, top_k, top_p in (
        (1.0, 1.0, 0, 1.0),
        (1.3, 1.0, 0, 1.0),
        (1.0, 0.5, 5, 1.0),
        (1.0, 1.5, 0, 0.8),
        (1.1, 0.7, 6, 0.75),
        (1.0, 1.0, 0, 0.01),  # a nucleus smaller than the first token: that token stays
    ):
        scores = logits.clone()
        seen = torch.tensor(sorted(set(previous)))
        scores[seen] = torch.where(
            scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty
        )
        scores = scores / temperature
        if top_k > 0:
            scores = scores.masked_fill(scores < scores.topk(top_k).values[-1], -math.inf)
        ascending, order = scores.sort()
        dropped = ascending.softmax(-1).cumsum(-1) <= 1 - top_p
        dropped[-1] = False
        scores[order[dropped]] = -math.inf
        settings = {"repetitionPenalty": penalty, "temperature": temperature}
        settings |= {"topK": top_k, "topP": top_p}
        cases.append({**settings, **flat(probabilities=scores.softmax(-1))})
    return {**flat(logits=logits), "previous": previous, "cases": cases}


def flat(**tensors):
    return {name: tensor.detach().reshape(-1).tolist() for name, tensor in tensors.items()}
