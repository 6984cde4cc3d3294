"""`torch.compile(model, backend="graphcnn")`: what we support of a model runs as our plans."""
