"""What a practice measures of its work: definitions, figures, reports, and repair of what is not in order."""
