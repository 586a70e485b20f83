"""What a comparison is to run: recipes, seeds, the settings they share; kept in its folder."""
