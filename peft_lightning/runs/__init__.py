"""What a run leaves on disk: its directory, its record, its checkpoints, its history."""
