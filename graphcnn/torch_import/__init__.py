"""PyTorch's modules as graphs: torch.export, then one table from ATen's operators to ours."""
