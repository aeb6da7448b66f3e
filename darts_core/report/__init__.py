"""From results to files that people look at: cell drawings, figures, tables. Pure functions; no parameters are read here."""
