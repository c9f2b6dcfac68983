noord
