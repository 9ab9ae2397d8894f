"""Finds a Rust compiler that makes wasm32, or fetches one."""
