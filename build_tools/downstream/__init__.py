"""Sets real SDKs, as their registries have them, beside the same SDKs with this kernel inside."""
