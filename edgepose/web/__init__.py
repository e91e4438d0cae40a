"""What every web server of ours stands on: the socket, bounded connections, and who may ask."""
