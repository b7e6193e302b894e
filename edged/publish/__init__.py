"""Results to MQTT."""
