"""What this machine has, what that means for edgepose, and the exact fix where something is missing."""

from edgepose.doctor.checks import Check, run_checks

__all__ = ["Check", "run_checks"]
