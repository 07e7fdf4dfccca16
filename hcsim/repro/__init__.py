"""Published results, rerun: each module here is one, and says what it reproduces and within what."""
