"""Events to elsewhere: an MQTT broker, Home Assistant, a web hook, and the collector of a fleet."""
