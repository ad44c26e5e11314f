"""RIGSL: multimodal emotion recognition in conversations by graph structure learning (ICME 2025)."""

__version__ = "0.1.0"
