"""Programs that schedulers use: kubectl, helm and kind."""

from . import helm, kind, kubectl

__all__ = ["helm", "kind", "kubectl"]
