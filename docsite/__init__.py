"""What the documents site is made with: numbers from results files, tables of messages, model cards, equations."""
