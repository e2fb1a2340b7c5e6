"""Networks, their training steps and how a trained one predicts: torch and numpy, no Ray, MLflow, DVC or HTTP."""
