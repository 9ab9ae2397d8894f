"""A report as text, Markdown, HTML, JUnit and wast."""
