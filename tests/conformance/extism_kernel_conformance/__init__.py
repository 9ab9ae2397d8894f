"""The conformance suite of the Extism kernel: cases, runner, reports.

The command line is `extism-kernel-conformance`, or `python -m extism_kernel_conformance`; the suite's
README says how to write an adapter. From Python, `run.suite_run.SuiteRun` runs cases and
`run.report.Section` holds what came of them.
"""
