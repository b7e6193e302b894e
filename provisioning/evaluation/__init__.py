"""Evaluation: metrics, predictors, tables and plots."""
