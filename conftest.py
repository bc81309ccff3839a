"""What must be set before anything of a client is imported, by a test or for a docstring's example."""

import importlib.util
import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["HF_HUB_OFFLINE"] = "1"

NEEDS = {
    "description": "transformers",
    "ignite": "ignite",
    "keras": "keras",
    "optax": "optax",
    "skorch": "skorch",
    "transformers": "transformers",
}
"""Modules of interop whose import or example needs a client, and which."""

collect_ignore = [
    f"src/lrcontrol/interop/{module}.py"
    for module, client in NEEDS.items()
    if importlib.util.find_spec(client) is None
]
