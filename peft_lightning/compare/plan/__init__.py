"""The plan of a comparison: recipes, seeds and the settings that they share; kept in the comparison's folder."""
