"""What scores say: means, accuracy, ROC area, agreement of readers, and how many cases the next study needs."""
