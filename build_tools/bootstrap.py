def ensure_environment(argv):
    return None
