"""Reports for people: self-contained HTML pages, and Markdown for GitHub."""
