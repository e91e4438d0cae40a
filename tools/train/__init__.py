"""How edgepose-lite-body was trained; not part of the installed package.

    pip install -r tools/train/requirements.txt
    python -m tools.train.train --data FOLDER --minutes 100     # checkpoints and log in runs/
    python -m tools.train.export runs/lite-body/last.pt edgepose-lite-body.onnx
    python -m tools.train.evaluate edgepose-lite-body.onnx --people FOLDER --coco FOLDER

`dataset` reads, `augment` makes scenes, `targets` defines what the maps should be, `losses` draws
them fast and compares, `network` is the network, `train` the loop. RUNS.md tells what came of it.
"""
