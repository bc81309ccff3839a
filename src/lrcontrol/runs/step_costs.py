"""What optimizers' own steps cost, for people who choose between them; budgets count updates, whatever these cost."""

__all__ = ["STEP_COSTS"]

STEP_COSTS: dict[str, float] = {
    "sgd": 1.0,
    "adamw": 1.3,
    "schedulefree_sgd": 1.5,
    "schedulefree_adamw": 2.2,
    "prodigy": 3.9,
    "dadapt_sgd": 2.3,
    "dadapt_adam": 3.7,
    "dog": 2.6,
    "ldog": 2.6,
    "dowg": 2.0,
    "cocob": 6.0,
    "mechanic": 4.4,
}
"""Times a step of torch's fused SGD with momentum, of 10 million weights, one thread: benchmarks/optimizers.py.

`mechanic` is of `mechanic(adamw)`. A forward and backward pass of most models takes many times as long as a step.
"""
