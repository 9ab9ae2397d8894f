"""Turns kernel cases into plug-ins, so that an SDK can be judged from inside."""
