"""The centre of a fleet: events of all devices into one store, each exactly once."""
