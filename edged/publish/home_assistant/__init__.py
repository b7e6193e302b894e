"""Announces the box and its cameras to Home Assistant by MQTT discovery, one retained message a device."""
