"""The settings that differ between recipes beyond the method, and their known effects on a comparison."""
