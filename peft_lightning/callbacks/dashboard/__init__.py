"""The live dashboard: curves of loss and metrics, drawn while a run trains."""
