"""What mypy and pyright must accept and infer of the public interface: checked, never run."""
