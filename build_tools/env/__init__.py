"""The environment of the tools, made with the standard library only, before anything is installed."""
