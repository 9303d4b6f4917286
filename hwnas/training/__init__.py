"""Training and judging networks in torch: data sets, recipes, the loop, evaluation. A run is a value (`TrainPlan`)."""
