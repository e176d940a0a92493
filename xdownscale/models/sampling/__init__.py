"""Cover a domain with samples: whole fields, tiles, patches."""
