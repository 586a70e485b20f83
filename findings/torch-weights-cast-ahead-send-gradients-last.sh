#!/usr/bin/env bash
# Library:  torch 2.13.0; DistributedDataParallel with one process on a CPU over gloo
# Seen:     of nodes whose gradients are there, autograd runs the one that was made last. So what is made of weights ahead
#           of a forward pass, such as a cast of all of them, hands its gradients on once the whole backward pass is
#           through, though those of the last layer were complete after that layer. The casts that autocast makes at each
#           use hand theirs on at once.
# Output:   cast at its use: the first of 8 buckets is reduced after 1 of 8 layers, the last after 8
#           cast ahead: the first of 8 buckets is reduced after 8 of 8 layers, the last after 8
# Matters:  DistributedDataParallel sends a bucket when its gradients arrive. With weights that are cast, merged with an
#           adapter or normalised ahead of the forward pass (functional_call takes such) nothing is sent while the
#           backward pass goes on, and all gradients in the other type are held until its end. The results are the same
#           and no warning comes: steps on several GPUs are slower by all that is sent.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0
cat > "$place/order.py" <<'PY'
import os
import sys

import torch
from torch import distributed, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

LAYERS = 8
ahead = sys.argv[1] == "ahead"


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(LAYERS)))

    def forward(self, values):
        if ahead:
            weights = {name: weight.bfloat16() for name, weight in self.body.named_parameters()}
            return functional_call(self.body, weights, values.bfloat16())
        with torch.autocast("cpu", torch.bfloat16):
            return self.body(values)


os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29541", "RANK": "0", "WORLD_SIZE": "1"}
distributed.init_process_group("gloo")
torch.manual_seed(0)
network = Wrapped()
passed = 0  # layers whose backward pass has begun
reduced = []


def count(layer, given, found):
    def begun(gradient):
        global passed
        passed += 1

    found.register_hook(begun)


for layer in network.body:
    layer.register_forward_hook(count)


def reduce(state, bucket):
    reduced.append(passed)
    done = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


parallel = DistributedDataParallel(network, bucket_cap_mb=0.001)
parallel.register_comm_hook(None, reduce)
for _ in range(2):  # buckets are arranged anew after the first step
    passed = 0
    reduced.clear()
    parallel(torch.randn(4, 64)).float().square().mean().backward()
how = "cast ahead" if ahead else "cast at its use"
first, last = reduced[0], reduced[-1]
print(f"{how}: the first of {len(reduced)} buckets is reduced after {first} of {LAYERS} layers, the last after {last}")
distributed.destroy_process_group()
PY
for way in use ahead; do
  "$place/env/bin/python" -W ignore "$place/order.py" "$way" 2> /dev/null | tee -a "$place/seen"
done
grep -qx "cast at its use: the first of 8 buckets is reduced after 1 of 8 layers, the last after 8" "$place/seen"
grep -qx "cast ahead: the first of 8 buckets is reduced after 8 of 8 layers, the last after 8" "$place/seen"
