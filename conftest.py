"""What must be set before anything of a client is imported, by a test or for a docstring's example."""

import importlib.util
import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["HF_HUB_OFFLINE"] = "1"

CLIENTS = {"ignite", "keras", "optax", "skorch"}  # modules of interop that import the client of their name
collect_ignore = [
    f"src/lrcontrol/interop/{client}.py" for client in sorted(CLIENTS) if importlib.util.find_spec(client) is None
]
