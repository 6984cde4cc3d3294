"""Networks on a CUDA device side by side: `python -m bench.gpu`, ten minutes by default.

A case is a network or a layer, a dtype and a batch (`cases`), and what computes it are contenders
(`contenders`): torch, torch.compile, TensorRT, and graphcnn unfused and fused. All of a case are in
one process; each output is checked, then they take turns (`measure`) on the device or on its
stand-in for a dry run (`hardware`). What was found is data (`results`), of which there are a page
(`report`) and pictures (`pictures`).
"""
