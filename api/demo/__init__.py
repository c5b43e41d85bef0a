"""The demo: a simulated EHR, a tracker that follows it, and a day on which things happen."""
