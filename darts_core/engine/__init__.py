"""The loops: search, retrain, evaluate. They take a log function and know no tracker."""
