"""What can be wrong with the staged kernel."""


class KernelResourceError(Exception):
    """The kernel cannot be handed out."""


class KernelNotStagedError(KernelResourceError):
    """There is no kernel in this package: a checkout in which it was never built."""


class KernelCorruptError(KernelResourceError):
    """The kernel or its kernel info is not what was built."""
