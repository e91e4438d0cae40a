"""Archives: many films and pictures on one machine or on a Ray cluster, resumable at any moment."""
