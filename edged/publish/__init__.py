"""Publishes results, states and statistics over MQTT."""
