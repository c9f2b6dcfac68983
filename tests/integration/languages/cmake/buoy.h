int buoy(void);
