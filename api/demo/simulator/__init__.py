"""A simulated EHR's SMART authorization server and the frame it opens apps in, strict about what apps send it.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html
"""
