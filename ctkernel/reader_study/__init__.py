"""The blinded reader study of the paper: can readers tell a normalized image from an original reconstruction?"""
