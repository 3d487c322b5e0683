"""Speaker verification over HTTP. Nothing in this room imports torch."""
