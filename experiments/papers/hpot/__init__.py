"""Human Imperceptible Attacks and Applications to Improve Fairness, table by table."""
